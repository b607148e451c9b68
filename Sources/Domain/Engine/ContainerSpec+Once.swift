extension ContainerSpec {
    /// A process that is given a time limit has a job to do and not a place to hold. Once it may have begun to run, the engine
    /// never makes it again: if it can't tell how it ended, it reports it as exited without an exit code.
    public var runsOnce: Bool {
        if case .process = role { return timeLimitSeconds != nil }
        return false
    }
}
