#!/usr/bin/env bash
# transformers 5.23.0, SAM 3: reusing text features as the model's own documentation shows does not work, and the nearest
# way that runs gives other results without a word.
#
# The example in the docstring of Sam3Model.get_text_features takes .pooler_output, a tensor, and hands it to the model as
# text_embeds: AttributeError, since forward() asks text_embeds for its pooler_output itself. Handing over the whole output
# runs, but without attention_mask= (which the example leaves out) the 32 padded positions of every phrase are attended to
# as words: presence, boxes and masks all differ. With the tokenizer's attention_mask beside it, the reuse equals a call
# with input_ids. Random weights, nothing is fetched; with real ones the size of the difference will be another.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 transformers==5.23.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys

import torch
import transformers
from transformers import Sam3Config, Sam3Model

print('transformers', transformers.__version__)
torch.manual_seed(0)
small = dict(hidden_size=16, num_attention_heads=2, intermediate_size=16)
trunk = dict(small, model_type='sam3_vit_model', num_hidden_layers=2, image_size=56, window_size=2,
             global_attn_indexes=[1], pretrain_image_size=56)
config = Sam3Config(
    vision_config=dict(backbone_config=trunk, fpn_hidden_size=16, backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]]),
    text_config=dict(small, vocab_size=1000, projection_dim=16, num_hidden_layers=1, max_position_embeddings=32,
                     eos_token_id=999, bos_token_id=998),
    geometry_encoder_config=dict(small, num_layers=1, roi_size=2),
    detr_encoder_config=dict(small, num_layers=1),
    detr_decoder_config=dict(small, num_layers=2, num_queries=5),
    mask_decoder_config=dict(hidden_size=16, num_attention_heads=2),
)
model = Sam3Model(config).eval()
for parameter in model.parameters():
    if parameter.ndim > 1:
        torch.nn.init.normal_(parameter, std=2 * (parameter.shape[0] / parameter.numel()) ** 0.5)

ids = torch.full((1, 32), 999)
ids[0, :4] = torch.tensor([998, 5, 6, 999])
text = dict(input_ids=ids, attention_mask=(torch.arange(32) < 4).long()[None])
with torch.no_grad():
    pixels = torch.randn(1, 3, 56, 56)
    wanted = model(pixel_values=pixels, **text)
    features = model.get_text_features(**text)
    try:
        model(pixel_values=pixels, text_embeds=features.pooler_output)  # the documented way
        documented = 'runs'
    except AttributeError as error:
        documented = str(error)
    bare = model(pixel_values=pixels, text_embeds=features)
    masked = model(pixel_values=pixels, text_embeds=features, attention_mask=text['attention_mask'])


def off(found):
    return max(float((found[key] - wanted[key]).abs().max()) for key in ('presence_logits', 'pred_logits', 'pred_boxes'))


print('documented:', documented)
print('presence, plain call:', wanted.presence_logits.sigmoid().item(), 'reused without the mask:',
      bare.presence_logits.sigmoid().item())
print('largest difference without the mask:', off(bare), 'with it:', off(masked))
sys.exit(0 if 'pooler_output' in documented and off(bare) > 1e-2 and off(masked) < 1e-5 else 'changed')
PY
