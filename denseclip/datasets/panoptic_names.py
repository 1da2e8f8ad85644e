"""Numbers that COCO's panoptic files use."""

COCO_THING_IDS = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""Category ids of the 80 things, in the order of the suite's list ``coco``."""

COCO_STUFF_IDS = (
    92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147, 148, 149, 151, 154, 155,
    156, 159, 161, 166, 168, 171, 175, 176, 177, 178, 180, 181, *range(184, 201),
)  # fmt: skip
"""Category ids of the 53 kinds of stuff of the panoptic task; from 184 on several kinds of COCO-Stuff are merged."""

COCO_PANOPTIC_IDS = (*COCO_THING_IDS, *COCO_STUFF_IDS)
"""Category ids of the 133 classes, in the order of the suite's list ``coco_panoptic``."""
