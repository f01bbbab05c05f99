#!/usr/bin/env bash
# Hands its arguments to bootstrap.py, run by the first Python 3.11 to 3.13 there is.
set -euo pipefail
here="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
for python in python3 python3.13 python3.12 python3.11; do
  if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    exec "$python" "$here/bootstrap.py" "$@"
  fi
done
echo "No Python 3.11, 3.12 or 3.13 is on the PATH$(python3 -c 'import platform as p; print(f", only {p.python_version()}")' 2>/dev/null || true). Install one (Debian: apt-get install python3 python3-venv)." >&2
exit 1
