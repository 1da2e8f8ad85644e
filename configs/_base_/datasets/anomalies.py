# How pictures with and without defects are measured; nothing is trained.
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
)
val_dataloader = test_dataloader
test_evaluator = dict(type='AnomalyMetric')
val_evaluator = test_evaluator
test_cfg = dict()
val_cfg = dict()
