#!/usr/bin/env bash
# From a folder of photographs and a line of words to a small model that answers over HTTP, with every command of
# docs/label.md in turn:
#
#   bash docs/loop.sh shots/ "road; car = automobile; sky; tree" out
#
# The same command again goes on: nothing is labelled twice, and the student that is there is trained to its end; remove
# out/student to let one learn anew, from other decisions or for another number of steps. ITERATIONS=900 says how many
# a new student takes (usual: as its config says), PORT=8000 where the server listens. Where nobody looks at the review
# page, the most doubtful object is kept, so that decisions are applied, too.
set -euo pipefail
shots=${1:-} words=${2:-} out=${3:-} port=${PORT:-8000}
give_up() { echo "loop.sh: $1" >&2; exit 2; }
[ -n "$out" ] || give_up 'say PHOTOGRAPHS, WORDS and OUT: bash docs/loop.sh shots/ "road; car; sky" out'
[ -d "$shots" ] || give_up "'$shots' is no folder of photographs"
command -v curl > /dev/null || give_up 'the last step asks the server with curl; install it first'
command -v denseclip > /dev/null || give_up "no denseclip here: pip install 'denseclip-suite[mm,demo,train,export,serve]'"
curl --silent --max-time 5 --output /dev/null "http://127.0.0.1:$port/" && give_up "port $port is taken; choose another PORT"
mkdir -p "$out"

# 1. Label, and look at what is doubtful.
denseclip label "$shots" --words "$words" --out "$out/maps" --to masks --confidences ||
  give_up "label has said why; photographs that cannot be read have to go before the loop goes on"
denseclip review "$out/maps"
if [ ! -f "$out/decisions.json" ]; then
  python3 - "$out" <<'PYTHON'
import json, pathlib, sys
out = pathlib.Path(sys.argv[1])
page = (out / 'maps' / 'review.html').read_text()
data = json.loads(page.partition('id="data">')[2].partition('</script>')[0])
kept = [
    {'picture': data['pictures'][first['picture']]['name'], 'object': first['object'], 'action': 'keep'}
    for first in data['objects'][:1]
]
decisions = {key: data[key] for key in ('kind', 'version', 'labels')} | {'decisions': kept}
(out / 'decisions.json').write_text(json.dumps(decisions))
PYTHON
fi
denseclip review "$out/maps" --apply "$out/decisions.json"

# 2. The labels are a data set like any other.
denseclip new-dataset "$out/maps" --out "$out/data.py" --force
denseclip check "$out/data.py"

# 3. A small model of these classes learns from them.
begin=${ITERATIONS:+--iterations $ITERATIONS}
if [ -f "$out/student/config.py" ]; then
  begin=--resume
  echo "loop.sh: '$out/student' is there and goes on; remove it to let a student learn anew"
fi
denseclip distill "$out/maps" --out "$out/student" $begin

# 4. Ship it: a graph that runs without PyTorch, on the command line and over HTTP.
denseclip export "$out/student/config.py" --weights "$out/student/student.safetensors" --out "$out/exported" --force
photograph=$(find "$shots" -type f \( -iname '*.png' -o -iname '*.jp*g' \) | sort | head -n 1)
denseclip segment "$photograph" --runtime "$out/exported" --out "$out/results" --force
denseclip serve --runtime "$out/exported" --port "$port" > "$out/serve.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null && wait $server 2>/dev/null || true' EXIT  # its port is free again at the end
seconds=0
until curl --silent --fail --max-time 10 --output /dev/null "http://127.0.0.1:$port/healthz"; do
  kill -0 "$server" 2> /dev/null || give_up "the server has ended: $(tail -n 1 "$out/serve.log")"
  [ $((seconds += 1)) -le 120 ] || give_up "the server does not answer at port $port; see $out/serve.log"
  sleep 1
done
curl --silent --fail -F "image=@$photograph" "http://127.0.0.1:$port/segment?format=labels" --output "$out/answer.png"
echo "served: $out/answer.png ($(wc -c < "$out/answer.png") bytes)"
echo "the page, at http://127.0.0.1:$port/: denseclip serve --runtime $out/exported --port $port"
