"""More cases for the exercises than their checks have, drawn anew each time work is marked.

A notebook's check calls the answer with the same few arguments for everybody, and everybody can
read them: whoever writes down their results passes. A trial draws arguments from a generator whose
seed nobody knows beforehand, and compares the answer with the course's own solution. An exercise
that asks for a value has no trial; nor has one that is missing here.
"""

from fedlab_utils.course.assignment.trials import basics, beyond, privacy
from fedlab_utils.course.assignment.trials.registry import TRIALS, try_out

__all__ = ["TRIALS", "basics", "beyond", "privacy", "try_out"]
