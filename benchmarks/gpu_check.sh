#!/usr/bin/env bash
# Checks and timings on the GPU of this machine, in under ten minutes, with one table of all that they found.
#
#   bash benchmarks/gpu_check.sh
#   bash benchmarks/gpu_check.sh --device cpu --quick    the script itself, in small, where there is no GPU
#
# --data DIR is a prepared data set for steps, epochs and models (else data/tiktok, else random data of its sizes);
# --out DIR a new folder in which the reports and logs of the parts stay. PYTHON chooses the interpreter.
#
# Each part has a limit of its own in seconds, and none goes beyond the ten minutes; one that fails stops no other. The
# exit code is 1 if a check failed or did not finish, or a benchmark failed; a benchmark that ran out of time is not one.
set -uo pipefail

TOTAL=585
device=cuda quick= data= out=
usage() { echo "usage: gpu_check.sh [--device cuda|cpu] [--quick] [--data DIR] [--out DIR]" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=1; shift; continue ;;
        --device | --data | --out) [ $# -gt 1 ] || usage ;;
        *) usage ;;
    esac
    case $1 in
        --device) device=$2 ;;
        --data) data=$(realpath -- "$2") ;;
        --out) out=$(realpath -m -- "$2") ;;
    esac
    shift 2
done
[ "$device" = cuda ] || [ "$device" = cpu ] || usage

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
[ -n "${PYTHON:-}" ] || { [ -x .venv/bin/python ] && PYTHON=.venv/bin/python; } || PYTHON=python3
if [ "$device" = cuda ] && ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' >/dev/null; then
    echo "gpu_check.sh needs a CUDA GPU, and PyTorch finds none here; --device cpu --quick tries the script without." >&2
    exit 2
fi
if [ -n "$out" ]; then
    mkdir -- "$out" || exit 2
else
    out=$(mktemp -d)
    trap 'rm -rf -- "$out"' EXIT
fi
running=
trap '[ -z "$running" ] || kill "$running"; exit 130' INT TERM

part() { # name, seconds at most, command
    local name=$1 limit=$2 left=$((TOTAL - SECONDS)) began=$SECONDS code=124
    shift 2
    [ -z "$quick" ] || limit=$TOTAL # small as it is, on a machine that may be busy
    [ "$left" -ge "$limit" ] || limit=$left
    if [ "$limit" -ge 5 ]; then
        echo "$name, at most $limit s" >&2
        timeout --kill-after=5 "$limit" "$@" >"$out/$name.out" 2>"$out/$name.log" &
        running=$!
        wait "$running"
        code=$?
        running=
    fi
    echo "$name $code $((SECONDS - began))" >>"$out/parts"
}

bench() { # name, seconds at most, module, flags
    local name=$1 limit=$2 module=$3
    shift 3
    part "$name" "$limit" "$PYTHON" -m "benchmarks.$module" --device "$device" --json "$@"
}

shared=() epoch=(--epochs 5 --compared-steps 5) models=(--models mmssl,mf,lightgcn,sgl,ncl,freedom,bm3,mgcn,lattice)
ranking=() size=(--full)
[ -z "$data" ] || shared=(--data "$data")
if [ -n "$quick" ]; then
    epoch=(--epochs 1 --repeats 1 --compared-steps 1)
    models=(--models mf,lightgcn --epochs 1)
    ranking=(--users 500 --items 400 --test-users 300 --repeats 2)
    size=(--users 2000 --items 400 --interactions 8000 --feature-dim 16 --steps 1 --refreshed 500 --ranked 500)
fi

part recorded-steps 120 "$PYTHON" -m pytest -q -p no:cacheprovider tests/mmssl_cli/training/test_cuda_graph.py
bench one-step 45 one_step "${shared[@]}"
bench epoch 45 bench_epoch "${shared[@]}" "${epoch[@]}"
if [ "$device" = cuda ]; then
    bench epoch-recorded 45 bench_epoch "${shared[@]}" "${epoch[@]}" --set cuda-graph=true
    bench epoch-tf32 45 bench_epoch "${shared[@]}" "${epoch[@]}" --set precision=tf32
    bench epoch-bfloat16 45 bench_epoch "${shared[@]}" "${epoch[@]}" --set precision=bfloat16
fi
bench models 90 bench_models "${shared[@]}" "${models[@]}"
bench ranking 20 bench_ranking "${ranking[@]}"
bench size "$TOTAL" bench_size "${size[@]}"
"$PYTHON" -m benchmarks.gpu_table "$out"
