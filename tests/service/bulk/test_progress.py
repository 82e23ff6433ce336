from service.bulk.progress import LINE_EVERY_S, Lines


def test_a_log_gets_a_line_now_and_then():
    now, lines = [0.0], []
    progress = Lines(lines.append, lambda: now[0])
    progress.begin("parts", 1842)
    for second in range(2 * LINE_EVERY_S + 1):
        now[0] = float(second)
        progress.advance(10)
    assert lines == [f"{10 * (LINE_EVERY_S + 1)} of 1,842 parts", f"{10 * (2 * LINE_EVERY_S + 1)} of 1,842 parts"]


def test_a_stage_without_an_end_has_lines_too():
    lines = []
    progress = Lines(lines.append, iter([0.0, 99.0, 99.0]).__next__)
    progress.begin("checking", None)
    progress.advance(5)
    assert lines == ["5 checking"]
