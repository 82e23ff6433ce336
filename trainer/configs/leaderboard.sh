#!/bin/sh
# The leaderboard of trainer/RESULTS.md, from imagery to table: sh trainer/configs/leaderboard.sh DATA [IMAGERY [RUNS]]
#
# DATA is as trainer/configs/tasks/six.yaml says. What is trained or measured already is left alone.
set -eu
data=$1
imagery=${2:-.imagery}
runs=${3:-runs}
configs=trainer/configs

pretrain() {
  satcle pretrain "$configs/$1.yaml" --imagery "$imagery" --runs "$runs" --resume ${2:+--vision "$2"}
}
pretrain_vision() {
  satcle pretrain-vision "$configs/$1.yaml" --imagery "$imagery" --runs "$runs" --resume
}

satcle data get "$configs/mosaic-satcle.yaml" --imagery "$imagery"
for row in onehot sinusoid gps2vec csp; do pretrain "baselines/$row"; done
for row in mosaic-satclip-l10 mosaic-satclip-l40 mosaic-satcle-no-semc; do pretrain "$row"; done

pretrain_vision mosaic-satcle
for row in mosaic-satcle mosaic-satcle-l40 mosaic-satcle-no-spac mosaic-satclip-vit-l10 mosaic-satclip-vit-l40; do
  pretrain "$row" "$runs/mosaic-satcle/vision.ckpt"
done
for resnet in rn18 rn50; do
  pretrain_vision "mosaic-satclip-$resnet-l10"
  pretrain "mosaic-satclip-$resnet-l10"
  pretrain "mosaic-satclip-$resnet-l40" "$runs/mosaic-satclip-$resnet-l10/vision.ckpt"
done

satcle evaluate --tasks "$configs/tasks/six.yaml" --data-dir "$data" --out "$runs/leaderboard" \
  baseline:sincos \
  "OneHot=baseline:onehot=$runs/baseline-onehot/best.ckpt" \
  "Sinusoid=baseline:sinusoid=$runs/baseline-sinusoid/best.ckpt" \
  "GPS2Vec=baseline:gps2vec=$runs/baseline-gps2vec/best.ckpt" \
  "CSP=baseline:csp=$runs/baseline-csp/best.ckpt" \
  "MOSAIKS=baseline:mosaiks=$configs/earth-l10.yaml@$imagery" \
  GeoCLIP=baseline:geoclip \
  baseline:untrained:L10 \
  baseline:untrained:L40 \
  "SatCLIP L10=$runs/mosaic-satclip-l10/best.ckpt" \
  "SatCLIP L40=$runs/mosaic-satclip-l40/best.ckpt" \
  "SatCLIP-RN18 L10=$runs/mosaic-satclip-rn18-l10/best.ckpt" \
  "SatCLIP-RN18 L40=$runs/mosaic-satclip-rn18-l40/best.ckpt" \
  "SatCLIP-RN50 L10=$runs/mosaic-satclip-rn50-l10/best.ckpt" \
  "SatCLIP-RN50 L40=$runs/mosaic-satclip-rn50-l40/best.ckpt" \
  "SatCLIP-ViT L10=$runs/mosaic-satclip-vit-l10/best.ckpt" \
  "SatCLIP-ViT L40=$runs/mosaic-satclip-vit-l40/best.ckpt" \
  "SatCLE -SpaC=$runs/mosaic-satcle-no-spac/best.ckpt" \
  "SatCLE -SemC=$runs/mosaic-satcle-no-semc/best.ckpt" \
  "SatCLE=$runs/mosaic-satcle/best.ckpt" \
  "SatCLE L40=$runs/mosaic-satcle-l40/best.ckpt" \
  earth-l30
