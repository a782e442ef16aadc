# The student alone in a shortage of labels: 40 frames, seen as often as 600 elsewhere.
_base_ = './baseline.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PartlyLabelled',
        labelled=40,
        repeat=15,
        unlabelled=False,
        dataset={{_base_.train_dataloader.dataset}}))
