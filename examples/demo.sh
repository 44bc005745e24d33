#!/usr/bin/env bash
# The main job on real data, one command a step: pre-train on MovieLens 100K, transfer to three profile tasks, compare.
set -euo pipefail
cd "$(dirname "$0")/.."
where=(--data-dir data)
runs=runs/demo

userrep download ml-100k "${where[@]}"
userrep preprocess dataset=ml-100k "${where[@]}"
userrep pretrain dataset=ml-100k "${where[@]}" trainer.epochs=10 --run $runs/base
userrep evaluate $runs/base "${where[@]}"

for task in gender age occupation; do
  for method in peterrec full head scratch; do
    userrep transfer --method $method --task $task --from $runs/base "${where[@]}" --run $runs/$task-$method
  done
  for baseline in majority bag_lr svd_lr random_encoder; do
    userrep baseline $baseline dataset=ml-100k task=$task "${where[@]}" --run $runs/$task-$baseline
  done
done

userrep compare $runs/{gender,age,occupation}-* "${where[@]}"
