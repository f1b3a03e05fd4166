#!/usr/bin/env bash
# Everything that is measured or checked on a card, part by part, each with a limit of time.
#
#   WORKLOAD=FILE PEER=FILE [JPEGS=DIR TOKENIZER=DIR] [BUNDLES=DIR] test/bench/card.sh OUT [PART...]
#
# PEER is a program that trains the same workload with transformers + peft. JPEGS is a folder of real pictures,
# TOKENIZER one with a real tokenizer.json; without them `epoch` is left out. BUNDLES holds the programs of test/ as
# single files (test/NAME.mjs) for a machine that has node but not this package's modules. OUT/summary.txt gets all
# RESULT lines and counts, OUT/log.txt everything. Scratch files need some 60 GB in SCRATCH (default /dev/shm/card).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$1
shift
parts=${*:-kernels shapes epoch train memory small roundtrip decode load resume flat overfit example}
scratch=${SCRATCH:-/dev/shm/card}
mkdir -p "$out" "$scratch"
log=$out/log.txt
summary=$out/summary.txt
began=$(date +%s)

program() {
  local name=$1
  shift
  if [ -n "${BUNDLES:-}" ]; then node --expose-gc "$BUNDLES/$name.mjs" "$@"; else node --expose-gc --import tsx "$name.ts" "$@"; fi
}
# A part that fails or takes too long is told, and the others go on.
limited() {
  local seconds=$1 status
  shift
  export -f program
  timeout "$seconds" bash -c 'program "$@"' - "$@" >"$scratch/now" 2>&1
  status=$?
  report "$status" "$*"
}
python() {
  local seconds=$1
  shift
  timeout "$seconds" python3 "$@" >"$scratch/now" 2>&1
  report $? "$*"
}
report() {
  { echo "\$ $2"; cat "$scratch/now"; } >>"$log"
  grep -E '^RESULT|[0-9]+ passed|^passed|^BAD|epoch989|Error|error:' "$scratch/now" | cut -c1-1500 | tee -a "$summary"
  if [ "$1" != 0 ]; then { echo "status $1: $2"; tail -5 "$scratch/now" | cut -c1-400; } | tee -a "$summary"; fi
  return "$1"
}
export BUNDLES
for part in $parts; do
  echo "## $part [$(($(date +%s) - began)) s]" | tee -a "$summary"
  case $part in
    kernels)
      python 120 test/engine/cuda/card/test_kernels.py 7
      python 150 test/engine/cuda/card/test_attention.py
      python 150 test/engine/cuda/card/test_attention.py --warpgroups
      ;;
    shapes)
      python 90 test/parity/real-shapes.py "$scratch/shapes" --size 14B --cases 1 &&
        limited 60 test/parity/real-shapes "$scratch/shapes" --engine cuda
      ;;
    epoch)
      [ -z "${JPEGS:-}" ] || limited 130 test/bench/epoch --data "$JPEGS" --size 14B --tokenizer "$TOKENIZER"
      ;;
    train)
      limited 480 test/bench/train --workload "$WORKLOAD" --size 14B --samples 240 --repeat 3 --peer "$PEER" \
        --peer-micro 52
      limited 60 test/bench/train --workload "$WORKLOAD" --size 14B --samples 240 --budget 40
      ;;
    memory) limited 150 test/bench/train --workload "$WORKLOAD" --size 14B --warmup 5 --samples 1600 --budget 40 ;;
    small)
      limited 120 test/bench/train --workload "$WORKLOAD" --size 3B --micro 8 --samples 480 --peer "$PEER" \
        --peer-micro 13 --variants sdpa,0,0,8 --peer-args=--bf16-adapter
      ;;
    roundtrip)
      python 120 test/parity/round-trip.py make "$scratch/trip" --size 8B &&
        limited 240 test/parity/round-trip "$scratch/trip" --engine cuda &&
        python 180 test/parity/round-trip.py check "$scratch/trip"
      ;;
    decode) limited 90 test/bench/generate --size 14B --workload "$WORKLOAD" ;;
    load) UV_THREADPOOL_SIZE=8 limited 120 test/bench/load --make "$scratch/m14" --size 14B --runs 2 ;;
    resume) limited 240 test/crash/kill-resume --kills 10 --engine cuda ;;
    flat) limited 120 test/bench/memory --engine cuda ;;
    overfit) limited 60 test/parity/overfit --engine cuda --twice ;;
    example) limited 90 examples/bone-fracture --engine cuda --out "$scratch/example" ;;
    *) echo "unknown part $part" >&2 && exit 2 ;;
  esac
  rm -rf "${scratch:?}"/*/
done
echo "## end [$(($(date +%s) - began)) s]" | tee -a "$summary"
