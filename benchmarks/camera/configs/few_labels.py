# 40 labelled frames 16 times and the 560 others once, for LiDAR depth and for what a teacher says of them:
# 600 steps, too. Without a teacher the others are shown for their depth alone.
_base_ = './baseline.py'
epochs = 1
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PartlyLabelled',
        labelled=40,
        repeat=16,
        dataset={{_base_.train_dataloader.dataset}}))
