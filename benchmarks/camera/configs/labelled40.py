# The student alone in a shortage of labels: 40 frames 20 times an epoch; 3 epochs are 1,200 steps.
_base_ = './baseline.py'
epochs = 3
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PartlyLabelled',
        labelled=40,
        repeat=20,
        unlabelled=False,
        dataset={{_base_.train_dataloader.dataset}}))
