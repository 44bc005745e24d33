#!/usr/bin/env bash
# Pre-training by two views of a user (CLUE, ICDM 2021) beside next items, three seeds; two cores, some two hours.
# Type it again after an interruption: what is finished is not made again.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${RUNS:-runs/clue}
shared=(experiment=clue_small) # GPU: clue_paper

userrep download ml-1m
userrep preprocess dataset=ml-1m
for seed in ${SEEDS:-0 1 2}; do
  for objective in clue clue_infonce next_item; do
    base=$runs/$objective-$seed
    epochs=(); [[ $objective != next_item ]] || epochs=(trainer.epochs=5) # as many updates as 17 of one example a user
    userrep pretrain "${shared[@]}" objective=$objective protocol.fold=$seed ${epochs[@]+"${epochs[@]}"} --seed $seed --run $base
    userrep probe $base
    for task in gender age occupation; do
      userrep transfer "${shared[@]}" --task $task --from $base --seed $seed --run $runs/$task-$objective-$seed
    done
    userrep evaluate $runs/{gender,age,occupation}-$objective-$seed
  done
done
for task in gender age occupation; do
  userrep compare $runs/$task-*-[0-9] --reference $runs/$task-next_item-0
done
