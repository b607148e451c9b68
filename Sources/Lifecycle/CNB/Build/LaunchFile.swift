import Domain

/// A process that a slug offers.
public struct LaunchProcess: Sendable, Hashable {
    public var type: String
    /// The program, then arguments that are always given.
    public var command: [String]
    /// Given unless the caller gives others.
    public var arguments: [String]
    /// Empty: the app's folder.
    public var workingDirectory: String
    /// Empty: every one.
    public var executionEnvironments: [String]
    /// Id of the buildpack that declared it.
    public var buildpack: String

    public init(
        type: String, command: [String], arguments: [String] = [], workingDirectory: String = "",
        executionEnvironments: [String] = [], buildpack: String
    ) {
        self.type = type
        self.command = command
        self.arguments = arguments
        self.workingDirectory = workingDirectory
        self.executionEnvironments = executionEnvironments
        self.buildpack = buildpack
    }
}

/// What one buildpack left in `launch.toml`.
struct LaunchFile: Sendable, Hashable {
    struct Label: Sendable, Hashable {
        var key: String
        var value: String
    }

    var processes: [LaunchProcess] = []
    /// Type of the process that is marked as the default.
    var defaultType: String?
    var labels: [Label] = []
    /// Each a list of patterns. A slug is one image, so they divide nothing; they are checked and handed on.
    var slices: [[String]] = []

    init() {}

    init(_ root: TOMLSection, buildpack: String) throws(TOMLFailure) {
        for section in try root.sections("processes") {
            let type = try section.requiredString("type")
            guard Self.isType(type) else {
                throw section.fail("type", "is \(Names.quoted(type)); use letters, digits and . _ -")
            }
            guard !processes.contains(where: { $0.type == type }) else {
                throw section.fail("type", "is \(Names.quoted(type)) a second time")
            }
            let command = try section.strings("command")
            guard let program = command.first, !program.isEmpty else {
                throw section.fail("command", "must be an array with the program first")
            }
            if try section.flag("default") {
                guard defaultType == nil else {
                    throw section.fail("default", "is true for \(defaultType ?? "") and \(type); only one can be it")
                }
                defaultType = type
            }
            processes.append(
                LaunchProcess(
                    type: type, command: command, arguments: try section.strings("args"),
                    workingDirectory: try section.string("working-dir") ?? "",
                    executionEnvironments: try section.strings("exec-env"), buildpack: buildpack))
        }
        for section in try root.sections("labels") {
            let label = Label(key: try section.requiredString("key"), value: try section.string("value") ?? "")
            guard !labels.contains(where: { $0.key == label.key }) else {
                throw section.fail("key", "is \(Names.quoted(label.key)) a second time")
            }
            labels.append(label)
        }
        for section in try root.sections("slices") {
            let paths = try section.strings("paths")
            if let outside = paths.first(where: { $0.split(separator: "/").contains("..") }) {
                throw section.fail("paths", "holds \(Names.quoted(outside)), which leads out of the app's folder")
            }
            slices.append(paths)
        }
        guard processes.count <= 200 else { throw root.fail("processes", "holds more than 200 processes") }
    }

    static func isType(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 200
            && text.utf8.allSatisfy {
                ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || $0 == 46 || $0 == 95
                    || $0 == 45
            }
    }
}
