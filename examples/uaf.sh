#!/usr/bin/env bash
# Which users need which blocks tuned (UAF, TKDE 2021), MovieLens 1M to 100K: one base, five folds; two cores, some two hours.
# Type it again after an interruption: what is finished is not made again.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${RUNS:-runs/uaf}
shared=(experiment=uaf_small task=cold_first) # GPU: uaf_paper, and data of two domains

userrep download ml-1m-to-100k
userrep preprocess dataset=ml-1m-to-100k
userrep pretrain experiment=uaf_small --run $runs/base
for fold in ${FOLDS:-0 1 2 3 4}; do
  for method in uaf_patch uaf_lora peterrec head; do
    userrep transfer "${shared[@]}" --method $method --from $runs/base protocol.fold=$fold --seed $fold --run $runs/$method-$fold
  done
  for method in uaf full scratch; do # all of the item table trains, or a copy: no low-rank change of it
    userrep transfer "${shared[@]}" --method $method method.table_rank=0 --from $runs/base protocol.fold=$fold --seed $fold \
      --run $runs/$method-$fold
  done
  userrep evaluate $runs/{uaf_patch,uaf_lora,peterrec,head,uaf,full,scratch}-$fold
  userrep routes $runs/uaf_patch-$fold
done
userrep compare $runs/*-[0-9] --reference $runs/full-0
