import Domain

/// Where everything of one container lies: `<run>/containers/<id>/…` on a tmpfs that is gone after a reboot, as the
/// container is.
struct ContainerPaths: Sendable, Hashable {
    let id: InstanceID
    let directory: String

    init(settings: Settings, id: InstanceID) {
        self.id = id
        directory = Self.root(settings) + "/\(id)"
    }

    static func root(_ settings: Settings) -> String { settings.runDirectory + "/containers" }
    /// conmon leaves the exit status of `<id>` in a file of that name.
    static func exits(_ settings: Settings) -> String { settings.runDirectory + "/exits" }
    /// `--root` of the OCI runtime.
    static func runtimeState(_ settings: Settings) -> String { settings.runDirectory + "/runtime" }
    static func launchScript(_ settings: Settings) -> String { settings.runDirectory + "/launch.sh" }

    var state: String { directory + "/state.json" }
    var bundle: String { directory + "/bundle" }
    var config: String { bundle + "/config.json" }
    /// The stack's image, read-only and id-mapped.
    var stack: String { directory + "/stack" }
    /// The slug's image, read-only and id-mapped.
    var slug: String { directory + "/slug" }
    /// The tmpfs that takes everything the process writes.
    var writable: String { directory + "/rw" }
    var rootfs: String { directory + "/rootfs" }
    var app: String { directory + "/app" }
    /// Where folders of the host are mounted, from which the container has them. The host's own paths may not be open to the
    /// app's uids.
    var host: String { directory + "/host" }
    /// The network namespace of a container that reaches nobody.
    var networkNamespace: String { directory + "/netns" }
    /// A sysfs of the container's own network namespace.
    var sys: String { directory + "/sys" }
    var files: String { directory + "/files" }
    var environment: String { files + "/environment" }
    var environmentFolder: String { files + "/env.d" }
    var certificates: String { files + "/ca-certificates.crt" }
    var resolvConf: String { files + "/resolv.conf" }
    var hosts: String { files + "/hosts" }
    var conmonPid: String { bundle + "/conmon.pid" }
}
