import pytest

from trainer.training.history import COLUMNS, read_history


def test_a_line_that_a_crash_cut_off_is_no_line(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(",".join(COLUMNS) + "\n1,2,3,4,5,6\n2,2.5,3")
    assert [row["epoch"] for row in read_history(path)] == ["1"]


@pytest.mark.parametrize("text", ["", ",".join(COLUMNS) + "\n"])
def test_an_empty_history_has_no_lines(tmp_path, text):
    (tmp_path / "history.csv").write_text(text)
    assert read_history(tmp_path / "history.csv") == []
