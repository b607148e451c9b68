import Domain

// The parts of this host behind the seams that the lifecycle and the server use.

extension NetworkService: ContainerNetwork {}

extension ImageService: ContainerImages {
    public func mountStack(named name: String, forBuild: Bool, uidSlot: Int, at path: String) throws {
        try mountStack(name, kind: forBuild ? .build : .run, uidSlot: uidSlot, at: path)
    }
}

extension ImageService: BuildWorker {
    public func buildStack(_ name: String) throws { try buildStack(name, progress: { _ in }) }
}
