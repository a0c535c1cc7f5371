"""Tables that no name can break."""

from evals.markdown import markdown_table


def test_a_table_has_a_header_and_rows_of_anything():
    text = markdown_table(["router", "reward"], [("auto", 0.5), ("none", None)])
    assert text == "| router | reward |\n| --- | --- |\n| auto | 0.5 |\n| none | None |"


def test_what_would_end_a_cell_or_a_row_is_escaped():
    assert markdown_table(["a|b"], [["c\r\nd"]]) == "| a\\|b |\n| --- |\n| c d |"
