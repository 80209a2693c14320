"""A stranger's client: it has grpcio and grpcio-reflection, and not one file of the project.

Lists the services of the coordinator at argv[1], submits the pipeline in argv[2] (JSON, as Protobuf maps it), waits for it,
and prints what it saw as JSON.
"""

import json
import sys
import time

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(sys.argv[1])
database = ProtoReflectionDescriptorDatabase(channel)
pool = DescriptorPool(database)


def call(method, request):
    service, name = method.split("/")
    descriptor = pool.FindServiceByName(service).FindMethodByName(name)
    kind = message_factory.GetMessageClass(descriptor.input_type)
    answer = message_factory.GetMessageClass(descriptor.output_type)
    invoke = channel.unary_unary(f"/{method}", kind.SerializeToString, answer.FromString)
    return json_format.MessageToDict(
        invoke(json_format.ParseDict(request, kind()), timeout=30), preserving_proto_field_name=True
    )


with open(sys.argv[2], encoding="utf-8") as file:
    pipeline = json.load(file)
submitted = call("ursa.v1.JobService/SubmitPipeline", {"pipeline": pipeline})["pipeline"]
deadline = time.monotonic() + 120
while True:
    seen = call("ursa.v1.JobService/GetPipeline", {"id": submitted["id"]})
    if seen["state"] != "running" or time.monotonic() > deadline:
        break
    time.sleep(0.1)
print(json.dumps({"services": sorted(database.get_services()), "pipeline": seen}))
