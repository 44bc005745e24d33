#!/usr/bin/env bash
# The main job on real data, one command a step: pre-train on MovieLens 100K, transfer to three profile tasks, compare.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=runs/demo
# All arms of a table share the protocol: here user vectors are read from the mean state and the mean item vector.
shared=(protocol.readout=mean+items --data-dir data)

userrep download ml-100k --data-dir data
userrep preprocess dataset=ml-100k --data-dir data
userrep pretrain dataset=ml-100k trainer.epochs=10 --run $runs/base --data-dir data
userrep evaluate $runs/base --data-dir data

for task in gender age occupation; do
  for method in peterrec full head scratch; do
    userrep transfer --method $method --task $task --from $runs/base trainer.batch_size=16 trainer.epochs=6 \
      --run $runs/$task-$method "${shared[@]}"
  done
  for baseline in majority bag_lr svd_lr random_encoder; do
    userrep baseline $baseline dataset=ml-100k task=$task --run $runs/$task-$baseline "${shared[@]}"
  done
done

userrep evaluate $runs/{gender,age,occupation}-{peterrec,full,head,scratch} --data-dir data
userrep compare $runs/{gender,age,occupation}-* --reference $runs/gender-full
