# FC-CLIP: CLIP is frozen, 25 of 32 classes are trained.
_base_ = [
    '../_base_/models/fcclip_vit-xs8_miniworld.py',
    '../_base_/datasets/miniworld-seen_96x96.py',
    '../_base_/schedules/masks_miniworld.py',
    '../_base_/default_runtime.py',
]
# As in the truth; by the words alone a tree would be stuff.
# fmt: off
model = dict(
    things=[
        'ball', 'box', 'star', 'ring', 'heart', 'leaf', 'fish', 'mug', 'key', 'arrow', 'crown', 'boat', 'tree', 'house',
        'kite', 'mushroom', 'flower', 'bottle', 'bell', 'hat',
    ]
)
# fmt: on
