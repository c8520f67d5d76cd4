"""Assignments: notebooks for a class, and marks from what comes back.

    python -m fedlab_utils.course.assignment release 03 06
    python -m fedlab_utils.course.assignment collect build/assignment/03-06 submissions

`release` packs the readers' notebooks and writes down which exercises they ask. `collect` marks
each exercise of each submission. A student's code never runs where the marks are made: it runs in a
process of its own that can reach neither network nor files (`sandbox`, `locks`), and only plain
values come out of it (`wire`). The check runs in the teacher's process and calls the student's
function across (`remote`), so what it compares are its own numbers and strings, never a student's
objects. What remains possible all the same is written down in chapters/teaching/assignments.md.
"""
