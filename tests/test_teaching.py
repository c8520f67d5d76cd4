"""The instructor's kit agrees with the chapters: pages, times that add up, links that resolve."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fedlab_utils.course.build import Course
from fedlab_utils.course.notebook import code_lines, derive, minutes_to_read

ROOT = Path(__file__).resolve().parents[1]
KIT = ROOT / "chapters" / "teaching"
COURSE = Course(ROOT)
CHAPTERS = {name[:2]: name for name in COURSE.names([])}
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(KIT.glob("*.md"))}
HEADINGS = ["Aims", "Timing", "Where people get stuck, and what to say", "To discuss"]
HEADINGS += ["Exam questions"]
# A room takes longer than a reader, at most so many times as long, and never less.
SLOWEST = 4.0


def reader(number: str) -> Any:
    path = COURSE.source(CHAPTERS[number])
    return derive(path, COURSE.repository, solution=False)


def sections(number: str) -> dict[str, float]:
    """The minutes that somebody alone reads in each section, exercises apart."""
    found: dict[str, float] = {}
    place = ""
    for cell in reader(number).cells:
        if "exercise" in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "code":
            found[place] = found.get(place, 0) + len(code_lines(cell.source)) / 12
            continue
        for line in cell.source.splitlines():
            if heading := re.match(r"## (\d+\.\d+ |[A-Z].*)", line):
                place = heading[1].strip()
            found[place] = found.get(place, 0) + len(line.split()) / 180
    return found


SECTIONS = {number: sections(number) for number in CHAPTERS}
EXERCISES = {
    number: set(re.findall(r"\*\*Exercise (\d\d\.\d+)", str(reader(number)))) for number in CHAPTERS
}


def read(number: str, text: str) -> tuple[float, int]:
    """Minutes to read, and exercises, of "3.1–3.5, 3.7" or "exercises 03.1, 03.3".

    Raises AssertionError for a section or an exercise that does not exist.
    """
    minutes = 0.0
    if tasks := re.fullmatch(r"exercises? (.+)", text.strip()):
        exercises = re.split(r",\s*", tasks[1])
        assert set(exercises) <= EXERCISES[number], f"no such exercises: {exercises}"
        return 0.0, len(exercises)
    for part in re.split(r",\s*", text.strip()):
        range_ = re.fullmatch(r"(\d+)\.(\d+)(?:–(\d+)\.(\d+))?", part)
        assert range_ is not None, f"chapter {number}: {part!r}"
        first, last = int(range_[2]), int(range_[4] or range_[2])
        for section in range(first, last + 1):
            name = f"{int(number)}.{section}"
            assert name in SECTIONS[number], f"no section {name}"
            minutes += SECTIONS[number][name]
    return minutes, 0


def asked(cell: str) -> list[tuple[str, str]]:
    """The chapters and sections of one cell of a schedule, of chapters that exist."""
    found = re.findall(r"\*\*(\d\d)\*\* ([^;|*]+?)(?=;|\||$|\*\*)", cell.strip())
    return [(number, text) for number, text in found if number in CHAPTERS]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def clock(text: str) -> list[tuple[int, int, int, list[str]]]:
    """The rows that begin with a time: begin and end in minutes, the minutes stated, the rest."""
    found = []
    for first, *rest in rows(text):
        if times := re.fullmatch(r"(\d\d):(\d\d)–(\d\d):(\d\d)", first):
            a, b, c, d = map(int, times.groups())
            found.append((60 * a + b, 60 * c + d, int(rest[0]), rest[1:]))
    return found


def blocks() -> list[tuple[str, str]]:
    """The schedules by heading: those with a clock."""
    parts = re.split(r"^##+ (.+)$", TEXTS["schedules.md"], flags=re.MULTILINE)
    pairs = list(zip(parts[1::2], parts[2::2], strict=True))
    return [(name, text) for name, text in pairs if clock(text)]


@pytest.mark.parametrize("number", CHAPTERS)
def test_every_chapter_has_its_page(number: str) -> None:
    text = TEXTS[f"{number}.md"]
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == HEADINGS
    parts = re.split(r"^## .+$", text, flags=re.MULTILINE)
    assert f"](../{CHAPTERS[number]}.ipynb)" in parts[0]
    assert parts[3].count("\n- **") >= 3, "where people get stuck"
    assert len(re.findall(r"^\d\. \*", parts[4], flags=re.MULTILINE)) >= 3, "to discuss"
    questions = re.split(r"^\d\. ", parts[5], flags=re.MULTILINE)[1:]
    assert len(questions) >= 3
    for question in questions:
        assert re.match(r"\*\*\(\d+ points\)\*\*", question) and "*Marking:*" in question


def head(number: str) -> tuple[int, int, int, float]:
    """In class, to read, to run [min] and memory [GB], as the page says."""
    text = TEXTS[f"{number}.md"]
    found = re.search(
        r"\*\*In class:\*\* (\d+) min.*\*\*to read:\*\* (\d+) min · "
        r"\*\*to run:\*\* (?:under )?(\d+) min, ([\d.]+) GB",
        text,
    )
    assert found is not None, number
    return int(found[1]), int(found[2]), int(found[3]), float(found[4])


@pytest.mark.parametrize("number", CHAPTERS)
def test_the_times_of_a_page_add_up_and_agree_with_the_chapter(number: str) -> None:
    in_class, to_read, to_run, memory = head(number)
    timing = re.split(r"^## .+$", TEXTS[f"{number}.md"], flags=re.MULTILINE)[2]
    stated = [(int(row[0]), row[1]) for row in rows(timing) if row[0].isdigit()]
    assert sum(minutes for minutes, _ in stated) == in_class
    reading = sum(read(number, text)[0] for _, text in stated if text)
    assert reading <= in_class <= SLOWEST * reading + 30
    assert abs(to_read - minutes_to_read(reader(number))) <= 10
    measured = COURSE.state.measured(number and CHAPTERS[number])
    assert measured is not None
    seconds, megabytes = measured
    # One machine is faster than another, and idle or not.
    assert abs(to_run - seconds / 60) <= max(2, 0.8 * seconds / 60)
    assert abs(memory - megabytes / 1000) <= 0.5


@pytest.mark.parametrize("name", [name for name, _ in blocks()])
def test_the_clock_of_a_schedule_adds_up(name: str) -> None:
    times = clock(dict(blocks())[name])
    for begin, end, minutes, _ in times:
        assert end - begin == minutes > 0, (begin, end)
    for (_, end, *_), (begin, *_) in pairwise(times):
        assert begin == end, f"a gap before {begin // 60:02}:{begin % 60:02}"
    work = [minutes for *_, minutes, rest in times if not re.match("Break|Lunch", rest[0])]
    pauses = [minutes for *_, minutes, rest in times if re.match("Break|Lunch", rest[0])]
    assert sum(work) + sum(pauses) == times[-1][1] - times[0][0]
    assert sum(pauses) >= sum(work) / 12, "people need breaks"


@pytest.mark.parametrize("name", [name for name, text in blocks() if "Sections" in text])
def test_a_schedule_leaves_time_for_its_sections(name: str) -> None:
    for begin, _, minutes, rest in clock(dict(blocks())[name]):
        found = [read(*one) for one in asked(rest[1])]
        if not found:
            assert (
                rest[1] == ""
                or not re.findall(r"\*\*(\d\d)\*\*", rest[1])
                or all(number not in CHAPTERS for number in re.findall(r"\*\*(\d\d)\*\*", rest[1]))
            )
            continue
        reading = sum(one for one, _ in found)
        tasks = sum(two for _, two in found)
        least = reading + 5 * tasks
        most = SLOWEST * least + 10
        assert least <= minutes <= most, (begin // 60, begin % 60, least, minutes)


WEEKS = [row for row in rows(TEXTS["schedules.md"]) if row[0].isdigit()]


def test_a_semester_has_twelve_weeks_and_every_chapter() -> None:
    assert [int(row[0]) for row in WEEKS] == list(range(1, 13))
    named = set(re.findall(r"\*\*(\d\d)\*\*", str(WEEKS)))
    # The capstone is what the last weeks are for.
    assert set(CHAPTERS) - {"15"} <= named


@pytest.mark.parametrize("week", WEEKS, ids=lambda row: row[0])
def test_a_week_has_room_for_its_sections(week: list[str]) -> None:
    lecture, lab, home = week[1:4]
    choice = lecture.startswith("one of")
    for cell, room in ((lecture, 65), (lab, 70), (home, 150)):
        found = [read(*one) for one in asked(cell)]
        needed = [reading + 8 * tasks for reading, tasks in found]
        if choice and cell is lecture:
            needed = [max(needed)] if needed else []
        # Beside the sections there is the question, the discussion and the break.
        assert sum(needed) <= room, (week[0], cell, needed)


def test_a_standard_week_has_ninety_minutes_twice() -> None:
    times = clock(dict(blocks())["A semester of twelve weeks"])
    pause = next(minutes for *_, minutes, rest in times if rest[0] == "Break" and minutes > 10)
    assert times[-1][1] - times[0][0] == 90 + pause + 90


def links(path: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"\]\(((?!https?:)[^)\s]+)\)", text)


@pytest.mark.parametrize(
    "path",
    [*sorted(KIT.glob("*.md")), *sorted((ROOT / ".github").glob("*.md"))],
    ids=lambda path: path.name,
)
def test_links_resolve(path: Path) -> None:
    for target in links(path):
        file, _, anchor = target.partition("#")
        chapter = re.search(r"\b(\d\d)_\w+\.ipynb$", file)
        if chapter and chapter[1] not in CHAPTERS:
            continue  # its page is here before the chapter is
        resolved = (path.parent / file).resolve() if file else path
        assert resolved.exists() and resolved.is_relative_to(ROOT), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", resolved.read_text("utf-8"), flags=re.MULTILINE)
            names = [re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings]
            assert anchor in names, target


def test_every_page_can_be_found_from_the_first() -> None:
    seen, todo = set(), [KIT / "README.md"]
    while todo:
        path = todo.pop()
        if path in seen or path.suffix != ".md" or not path.exists():
            continue
        seen.add(path)
        todo += [(path.parent / target.partition("#")[0]).resolve() for target in links(path)]
    general = {KIT / name for name in TEXTS if not name[:2].isdigit()}
    assert general <= seen


def test_the_class_room_knows_what_the_chapters_need() -> None:
    """The table of memory names every chapter once, and agrees with what was measured."""
    text = TEXTS["classroom.md"]
    stated: dict[str, tuple[float, float]] = {}
    for chapters, memory in (row for row in rows(text) if "GB" in row[-1] and len(row) == 2):
        bounds = [float(number) for number in re.findall(r"[\d.]+(?= |$)", memory)]
        for part in chapters.split(", "):
            first, _, last = part.partition(" to ")
            for number in range(int(first), int(last or first) + 1):
                assert f"{number:02}" not in stated
                stated[f"{number:02}"] = (min(bounds), max(bounds))
    assert set(CHAPTERS) - {"15"} <= set(stated)
    for number, (low, high) in stated.items():
        if number in CHAPTERS:
            measured = COURSE.state.measured(CHAPTERS[number])
            assert measured is not None
            assert low - 0.2 <= measured[1] / 1000 <= high + 0.2, number


def test_commands_of_the_kit_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for text in TEXTS.values():
        for target in re.findall(r"(?:`|^)make ([a-z]+)", text, flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
        for module in re.findall(r"python -m (fedlab_utils[\w.]+)", text):
            path = ROOT.joinpath(*module.split("."))
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
