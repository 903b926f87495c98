"""`python -m session.ask ADDRESS METHOD [JSON]`: one call over gRPC, by what the daemon says of itself, as JSON.

The key, where the daemon has keys, is `key:secret` in the environment's `MIXMINUS_KEY`.
"""

import json
import os
import sys

from .by_grpc import asking

if not 3 <= len(sys.argv) <= 4:
    sys.exit(__doc__)
address, method = sys.argv[1:3]
body = json.loads(sys.argv[3]) if len(sys.argv) == 4 else {}
status, answer = asking(address, os.environ.get("MIXMINUS_KEY", ""))(method, body, None)
print(json.dumps(answer, indent=2))
sys.exit(status >= 400)
