"""What was measured is found again, and what is no such file is not taken for one."""

import pytest

from trainer.errors import EvaluationError
from trainer.evaluation.cells import FORMAT, Cells, Key

KEY = Key("e", "t", "ridge", "random", 0)


def test_figures_are_kept(tmp_path):
    cells = Cells(tmp_path / "new" / "cells.json")
    assert cells.get(KEY) is None
    cells.add([(KEY, {"R2": [0.1, 0.25]})])
    again = Cells(tmp_path / "new" / "cells.json")
    assert again.get(KEY) == {"R2": [0.1, 0.25]}
    assert again.get(Key("e", "t", "ridge", "random", 1)) is None


def test_figures_of_another_format_are_measured_again(tmp_path):
    path = tmp_path / "cells.json"
    Cells(path).add([(KEY, {"R2": [0.1]})])
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'))
    assert Cells(path).get(KEY) is None


def test_what_is_finished_is_kept_where_the_next_fails(tmp_path):
    def measured():
        yield KEY, {"R2": [0.5]}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cells(tmp_path / "cells.json").add(measured())
    assert Cells(tmp_path / "cells.json").get(KEY) == {"R2": [0.5]}


@pytest.mark.parametrize("content", ["", "[]", "{}", f'{{"format": {FORMAT}, "cells": [{{"a": 1}}]}}'])
def test_another_file_is_named(tmp_path, content):
    (tmp_path / "cells.json").write_text(content)
    with pytest.raises(EvaluationError, match="holds no figures of satcle evaluate"):
        Cells(tmp_path / "cells.json")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(EvaluationError, match=r"out/cells\.json cannot be read: Not a directory"):
        Cells(tmp_path / "out" / "cells.json")
