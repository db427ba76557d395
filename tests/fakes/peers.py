"""The profile and channel services as the decision service sees them, over real gRPC."""

import grpc
from rapport.channel.v1 import channel_pb2, channel_pb2_grpc
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc

from tests.fakes.trust import trust


class ProfileFake(profile_pb2_grpc.ProfileServiceServicer):
    """Snapshots by subject; the list of listened types."""

    def __init__(self):
        self.snapshots = {}
        self.listened = ()

    async def BatchGetSnapshots(self, request, context):  # noqa: N802 - the proto's name
        del context
        return profile_pb2.BatchGetSnapshotsResponse(
            results=[
                profile_pb2.SnapshotResult(snapshot=self.snapshots[subject])
                if subject in self.snapshots
                else profile_pb2.SnapshotResult(error="no customer has this identity")
                for subject in request.subjects
            ]
        )

    async def ResolveIdentity(self, request, context):  # noqa: N802 - the proto's name
        if request.subject not in self.snapshots:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no customer has this identity")
        return profile_pb2.ResolveIdentityResponse(customer=self.snapshots[request.subject].customer)

    async def SetListenedTypes(self, request, context):  # noqa: N802 - the proto's name
        del context
        self.listened = tuple(request.types)
        self.absences = tuple(request.absence_types)
        return profile_pb2.SetListenedTypesResponse(version=1)


class ChannelFake(channel_pb2_grpc.ChannelServiceServicer):
    """Refuses the actions of the rules named in `refuses` (rule to reason); keeps what it let through."""

    def __init__(self):
        self.refuses = {}
        self.reserved = []
        self.away = False

    async def Reserve(self, request, context):  # noqa: N802 - the proto's name
        if self.away:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "away")
        answers = []
        for action in request.actions:
            reason = self.refuses.get(action.rule)
            if reason is None:
                self.reserved.append(action)
            answers.append(
                channel_pb2.GateAnswer(action_id=action.action_id, passed=reason is None, reason=reason or 0)
            )
        return channel_pb2.ReserveResponse(answers=answers)


async def serve_peers():
    """Both on one port of this machine; the server, its target, and the fakes."""
    server = grpc.aio.server()
    profile, channel = ProfileFake(), ChannelFake()
    profile_pb2_grpc.add_ProfileServiceServicer_to_server(profile, server)
    channel_pb2_grpc.add_ChannelServiceServicer_to_server(channel, server)
    port = server.add_secure_port("127.0.0.1:0", trust().server_credentials("peers"))
    await server.start()
    return server, f"127.0.0.1:{port}", profile, channel
