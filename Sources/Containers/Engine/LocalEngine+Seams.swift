import Domain
import FoundationEssentials

extension LocalEngine: ContainerEngine {
    public func capabilities() async throws(PaaSError) -> EngineCapabilities {
        guard case .capabilities(let value) = try await call(.capabilities) else { throw Self.unexpected }
        return value
    }

    public func ensure(_ spec: ContainerSpec) async throws(PaaSError) -> ContainerObservation {
        guard case .observation(let value) = try await call(.ensure(spec: spec), epoch: spec.epoch) else {
            throw Self.unexpected
        }
        return value
    }

    public func stop(_ id: InstanceID, graceSeconds: Int, epoch: Int64) async throws(PaaSError) {
        try await perform(.stop(id: id, graceSeconds: graceSeconds), epoch)
    }

    public func remove(_ id: InstanceID, epoch: Int64) async throws(PaaSError) {
        try await perform(.remove(id: id), epoch)
    }

    public func observe(epoch: Int64) async throws(PaaSError) -> AsyncThrowingStream<EngineEvent, any Error> {
        try await follow(epoch: epoch)
    }

    public func logs(app: AppID, instance: InstanceID?, matching query: LogQuery, after: LogCursor?, limit: Int)
        async throws(PaaSError) -> LogPage
    {
        let call = EngineCall.logs(app: app, instance: instance, matching: query, after: after, limit: limit)
        guard case .logPage(let page) = try await self.call(call) else { throw Self.unexpected }
        return page
    }

    public func removeLogs(app: AppID, epoch: Int64) async throws(PaaSError) {
        try await perform(.removeLogs(app: app), epoch)
    }

    private func perform(_ call: EngineCall, _ epoch: Int64) async throws(PaaSError) {
        guard case .done = try await self.call(call, epoch: epoch) else { throw Self.unexpected }
    }
}

extension LocalEngine: BuildEngine {
    public func createBuildVolume(
        build: BuildID, app: AppID, uidSlot: Int, sizeBytes: Int64, clearCache: Bool, epoch: Int64
    ) async throws(PaaSError) -> String {
        let call = EngineCall.createBuildVolume(
            build: build, app: app, uidSlot: uidSlot, sizeBytes: sizeBytes, clearCache: clearCache)
        guard case .path(let path) = try await self.call(call, epoch: epoch) else { throw Self.unexpected }
        return path
    }

    public func placeSource(build: BuildID, uidSlot: Int, epoch: Int64) async throws(PaaSError) {
        try await perform(.placeSource(build: build, uidSlot: uidSlot), epoch)
    }

    public func sealSource(build: BuildID, uidSlot: Int, epoch: Int64) async throws(PaaSError) {
        try await perform(.sealSource(build: build, uidSlot: uidSlot), epoch)
    }

    public func readBuildFile(build: BuildID, path: String, limit: Int) async throws(PaaSError) -> [UInt8]? {
        let call = EngineCall.readBuildFile(build: build, path: path, limit: limit)
        guard case .bytes(let bytes) = try await self.call(call) else { throw Self.unexpected }
        return bytes.map { Array($0) }
    }

    public func packSlug(build: BuildID, uidSlot: Int, limitBytes: Int64, epoch: Int64) async throws(PaaSError)
        -> PackedSlug
    {
        let call = EngineCall.packSlug(build: build, uidSlot: uidSlot, limitBytes: limitBytes)
        guard case .slug(let slug) = try await self.call(call, epoch: epoch) else { throw Self.unexpected }
        return slug
    }

    public func abandonWork(build: BuildID, epoch: Int64) async throws(PaaSError) {
        try await perform(.abandonWork(build: build), epoch)
    }

    public func finishBuildVolume(build: BuildID, app: AppID, keepCache: Bool, epoch: Int64) async throws(PaaSError) {
        try await perform(.finishBuildVolume(build: build, app: app, keepCache: keepCache), epoch)
    }

    public func listBuildVolumes() async throws(PaaSError) -> [BuildID] {
        guard case .builds(let list) = try await call(.listBuildVolumes) else { throw Self.unexpected }
        return list
    }

    public func listSlugs() async throws(PaaSError) -> [SlugDigest] {
        guard case .slugs(let list) = try await call(.listSlugs) else { throw Self.unexpected }
        return list
    }

    public func removeSlug(_ digest: SlugDigest, epoch: Int64) async throws(PaaSError) {
        try await perform(.removeSlug(digest: digest), epoch)
    }

    public func listCaches() async throws(PaaSError) -> [BuildCache] {
        guard case .caches(let list) = try await call(.listCaches) else { throw Self.unexpected }
        return list
    }

    public func removeCache(app: AppID, epoch: Int64) async throws(PaaSError) {
        try await perform(.removeCache(app: app), epoch)
    }

    public func listStacks() async throws(PaaSError) -> [StackInfo] {
        guard case .stacks(let list) = try await call(.listStacks) else { throw Self.unexpected }
        return list
    }

    public func buildStack(_ name: String, epoch: Int64) async throws(PaaSError) {
        try await perform(.buildStack(name: name), epoch)
    }
}
