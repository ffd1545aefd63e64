"""`python score.py REFERENCE OTHER ...`: print each other's SSIMULACRA2 score beside the reference, as JSON."""

import json
import sys

from ssimulacra2 import compute_ssimulacra2

reference, *others = sys.argv[1:]
print(json.dumps([compute_ssimulacra2(reference, other) for other in others]))
