#!/usr/bin/env bash
# PeterRec beside the other ways to adapt one base (SIGIR 2020), three seeds, each a fold of its own; two cores, some three hours.
# Type it again after an interruption: what is finished is not made again. SEEDS="3 4" for more, RUNS=folder for elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${RUNS:-runs/peterrec}
# What the preset peterrec_small says of every arm of a table; its own method is one of them.
same=(protocol.history=200 protocol.readout=mean+items trainer.lr=0.003 trainer.batch_size=64 trainer.epochs=3 trainer.patience=0)

userrep download ml-1m
userrep preprocess dataset=ml-1m
for seed in ${SEEDS:-0 1 2}; do
  base=$runs/base-$seed
  userrep pretrain experiment=peterrec_small protocol.fold=$seed --seed $seed --run $base
  for task in gender age occupation; do
    userrep transfer experiment=peterrec_small --task $task --from $base --seed $seed --run $runs/$task-peterrec-$seed
    for method in lora head last; do # the item table is frozen, but for a change of low rank, as PeterRec's
      userrep transfer "${same[@]}" --method $method method.table_rank=8 --task $task --from $base --seed $seed \
        --run $runs/$task-$method-$seed
    done
    for method in full scratch; do
      userrep transfer "${same[@]}" --method $method --task $task --from $base --seed $seed --run $runs/$task-$method-$seed
    done
    userrep evaluate $runs/$task-{peterrec,lora,head,last,full,scratch}-$seed
  done
done
for task in gender age occupation; do
  userrep compare $runs/$task-*-[0-9] --reference $runs/$task-full-0
done
