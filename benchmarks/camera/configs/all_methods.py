# Every method for cameras at once, to see where each pulls at the student: kd3d explain --focus.
_base_ = './distilled.py'
model = dict(
    method=[
        dict(type='bevdistill'),
        dict(type='crkd'),
        dict(type='distillbev'),
        dict(type='labeldistill', weights=dict(response=None)),
        dict(type='tigbev'),
        dict(type='unidistill'),
        dict(type='x3kd'),
        dict(type='bev_lgkd'),
        dict(type='focaldistiller'),
        dict(type='vcd'),
        dict(type='nst')
    ])
