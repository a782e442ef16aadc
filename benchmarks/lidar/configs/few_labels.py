# 20 labelled frames 17 times and the 300 others once an epoch; 6 epochs are 960 steps, too.
_base_ = './distilled.py'
epochs = 6
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PartlyLabelled',
        labelled=20,
        repeat=17,
        dataset={{_base_.train_dataloader.dataset}}))
