"""Runs the model at argv[1] over the pictures at argv[2] (float32, as many as there are) and prints its logits as JSON."""

import json
import sys

import numpy
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(image,) = session.get_inputs()
(logits,) = session.get_outputs()
assert (image.name, image.type, logits.name) == ("image", "tensor(float)", "logits"), (image, logits)
metadata = session.get_modelmeta().custom_metadata_map
assert len(json.loads(metadata["classes"])) == logits.shape[1], metadata
assert int(metadata["image_size"]) == image.shape[2], metadata
pixels = numpy.fromfile(sys.argv[2], numpy.float32).reshape(-1, *image.shape[1:])
print(json.dumps(session.run([logits.name], {image.name: pixels})[0].tolist()))
