"""`python -m flexnfv.cli`, for where the entry point is not on the PATH."""

import sys

from flexnfv.cli import main

sys.exit(main())
