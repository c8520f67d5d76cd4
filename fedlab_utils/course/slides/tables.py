"""Tables of a notebook, cut to what can be read from the back of a room."""

import re

MAX_ROWS = 10
MAX_WORDS = 160
_ROW = re.compile(r"<tr\b.*?</tr>", flags=re.DOTALL)


def cut_markdown(table: str) -> str:
    """Return a Markdown table with at most `MAX_ROWS` rows and about `MAX_WORDS` words.

    Below it stands how many rows were left out.
    """
    head, rule, *rows = table.strip().split("\n")
    kept: list[str] = []
    for row in rows[:MAX_ROWS]:
        if len(" ".join([head, *kept, row]).replace("|", " ").split()) > MAX_WORDS:
            break
        kept.append(row)
    left = len(rows) - len(kept)
    more = f"\n\nand {left} more rows in the chapter" if left else ""
    return "\n".join([head, rule, *kept]) + more


def cut(page: str) -> str:
    """Return the table of an HTML output without its style, with at most `MAX_ROWS` rows.

    Below it stands how many rows were left out.
    """
    found = re.search(r"<table.*?</table>", page, flags=re.DOTALL)
    table = re.sub(r"<style.*?</style>", "", found[0] if found else "", flags=re.DOTALL)
    table = re.sub(r"<th([^>]*)>(?:\s|&nbsp;)*</th>", r"<td\1></td>", table)
    head, opened, body = table.partition("<tbody>")
    rows = _ROW.findall(body)
    if not opened or len(rows) <= MAX_ROWS:
        return table
    more = f'<p class="more">and {len(rows) - MAX_ROWS} more rows in the chapter</p>'
    return f"{head}<tbody>{''.join(rows[:MAX_ROWS])}</tbody></table>{more}"
