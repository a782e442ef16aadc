# 40 labelled frames 9 times and the 280 others once an epoch, for LiDAR depth and for what a teacher says
# of them; 2 epochs are 640 steps, too. Without a teacher the others are shown for their depth alone.
_base_ = './baseline.py'
epochs = 2
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PartlyLabelled',
        labelled=40,
        repeat=9,
        dataset={{_base_.train_dataloader.dataset}}))
