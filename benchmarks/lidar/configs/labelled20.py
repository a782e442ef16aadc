# The student alone in a shortage of labels: 20 frames, seen as often as 320 elsewhere.
_base_ = './baseline.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PartlyLabelled',
        labelled=20,
        repeat=16,
        unlabelled=False,
        dataset={{_base_.train_dataloader.dataset}}))
