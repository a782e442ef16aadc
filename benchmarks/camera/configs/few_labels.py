# 40 labelled frames 6 times and the 560 others once an epoch, for LiDAR depth and for what a teacher says of
# them; 3 epochs are 1,200 steps. Without a teacher the others are shown for their depth alone.
_base_ = './baseline.py'
epochs = 3
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PartlyLabelled',
        labelled=40,
        repeat=6,
        dataset={{_base_.train_dataloader.dataset}}))
