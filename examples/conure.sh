#!/usr/bin/env bash
# Conure's chain of six tasks beside a model for each task (SIGIR 2021), three seeds; two cores, some two hours a seed.
# Type it again after an interruption: what is finished is not made again.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${RUNS:-runs/conure}
shared=(experiment=conure_small) # GPU: conure_ml; conure_paper has other tasks, see there
tasks='tasks=[chain_liked,chain_loved,chain_gender,chain_age,chain_occupation]'

userrep download ml-1m
userrep preprocess dataset=ml-1m
for seed in ${SEEDS:-0 1 2}; do
  here=$runs/$seed
  userrep pretrain "${shared[@]}" --seed $seed --run $here/first
  userrep prune $here/first "${shared[@]}" --seed $seed --run $here/conure/1-next_item
  userrep transfer "${shared[@]}" --from $here/conure/1-next_item "$tasks" --seed $seed --run $here/conure
  userrep verify $here/conure/6-chain_occupation
  for method in full head; do # a model for each task, all from the same base
    userrep transfer "${shared[@]}" --method $method --from $here/first "$tasks" chain=base --seed $seed --run $here/$method
  done
  userrep transfer "${shared[@]}" --method full --from $here/first "$tasks" chain=previous --seed $seed --run $here/forgets
  userrep chain $here/conure/6-chain_occupation
  userrep chain $here/forgets/6-chain_occupation
done
