#!/usr/bin/env bash
# From a folder of photographs and a line of words to a small model that answers over HTTP, with every command of
# docs/label.md in turn:
#
#   bash docs/loop.sh shots/ "road; car = automobile; sky; tree" out
#
# ITERATIONS=900 trains longer (usual: as the student's config says). Where nobody looks at the review page, the most
# doubtful object is kept, so that decisions are applied, too.
set -euo pipefail
shots=$1 words=$2 out=$3
mkdir -p "$out"

# 1. Label, and look at what is doubtful.
denseclip label "$shots" --words "$words" --out "$out/maps" --to masks --confidences
denseclip review "$out/maps"
if [ ! -f "$out/decisions.json" ]; then
  python3 - "$out" <<'PYTHON'
import json, pathlib, sys
out = pathlib.Path(sys.argv[1])
page = (out / 'maps' / 'review.html').read_text()
data = json.loads(page.partition('id="data">')[2].partition('</script>')[0])
first = data['objects'][0]
kept = {'picture': data['pictures'][first['picture']]['name'], 'object': first['object'], 'action': 'keep'}
decisions = {key: data[key] for key in ('kind', 'version', 'labels')} | {'decisions': [kept]}
(out / 'decisions.json').write_text(json.dumps(decisions))
PYTHON
fi
denseclip review "$out/maps" --apply "$out/decisions.json"

# 2. The labels are a data set like any other.
denseclip new-dataset "$out/maps" --out "$out/data.py" --force
denseclip check "$out/data.py"

# 3. A small model of these classes learns from them.
denseclip distill "$out/maps" --out "$out/student" ${ITERATIONS:+--iterations "$ITERATIONS"}

# 4. Ship it: a graph that runs without PyTorch, on the command line and over HTTP.
denseclip export "$out/student/config.py" --weights "$out/student/student.safetensors" --out "$out/exported" --force
denseclip segment "$shots" --runtime "$out/exported" --out "$out/results" --force
denseclip serve --runtime "$out/exported" --port "${PORT:-8000}" > "$out/serve.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
curl --silent --fail --retry 60 --retry-delay 1 --retry-connrefused --output /dev/null "http://127.0.0.1:${PORT:-8000}/healthz"
photograph=$(find "$shots" -type f \( -iname '*.png' -o -iname '*.jp*g' \) | sort | head -n 1)
curl --silent --fail -F "image=@$photograph" "http://127.0.0.1:${PORT:-8000}/segment?format=labels" --output "$out/answer.png"
echo "served: $out/answer.png ($(wc -c < "$out/answer.png") bytes); page: http://127.0.0.1:${PORT:-8000}/"
