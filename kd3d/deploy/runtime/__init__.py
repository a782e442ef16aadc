"""What an exported detector does around its graphs, in numpy: it is copied beside the model.

No torch, no mmdet3d and no kd3d is needed to run it: numpy and onnxruntime, and OpenCV where
images are resized. `detector.Detector` is the way in.
"""
