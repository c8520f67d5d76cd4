"""Tables of a notebook, cut to what can be read from the back of a room."""

import re

MAX_ROWS = 10
_ROW = re.compile(r"<tr\b.*?</tr>", flags=re.DOTALL)


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
