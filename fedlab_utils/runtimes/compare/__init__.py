"""Which framework when: the same job on each of them, measured. Taught in chapter 05.

python -m fedlab_utils.runtimes.compare            # measure those that are installed
python -m fedlab_utils.runtimes.compare --record   # and keep the table for the chapter
"""

from fedlab_utils.runtimes.compare.frameworks import FRAMEWORKS, Framework
from fedlab_utils.runtimes.compare.measuring import Measurement, measure, recorded, to_frame

__all__ = ["FRAMEWORKS", "Framework", "Measurement", "measure", "recorded", "to_frame"]
