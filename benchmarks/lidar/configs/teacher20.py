# The teacher of the label shortage that has itself seen no more than the 20 labelled frames.
_base_ = './teacher.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PartlyLabelled',
        labelled=20,
        repeat=16,
        unlabelled=False,
        dataset={{_base_.train_dataloader.dataset}}))
