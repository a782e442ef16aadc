# Anchor heads: as the other configs, but boxes keep their seven values.
_base_ = '../_base_.py'
train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'PadVelocity']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
