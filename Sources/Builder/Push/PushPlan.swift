import Domain

/// What a push means, decided before anything is done: which ref is built, what becomes of the others, what is said.
struct PushPlan: Sendable, Equatable {
    /// The command of the deploy branch, if this push deploys.
    var deploy: PushCommand?
    var options = Build.Options()
    /// For every ref but the one of `deploy`.
    var decisions: [String: RefDecision] = [:]
    var lines: [String] = []

    static let knownOptions = ["no-wait", "build.only", "build.clear-cache"]

    /// - Parameter deployBranch: nil while `main` or `master` has not deployed yet.
    init(appName: String, deployBranch: String?, commands: [PushCommand], options given: [String]) {
        for option in given {
            switch option {
            case "no-wait": options.noWait = true
            case "build.only": options.buildOnly = true
            case "build.clear-cache": options.clearCache = true
            default:
                let reason = "unknown push option \(Names.quoted(option))"
                lines = [" !     \(reason); known are \(Self.knownOptions.joined(separator: ", "))"]
                for command in commands { decisions[command.ref] = .refuse(reason) }
                return
            }
        }
        let branch = Self.branch(deployBranch, commands)
        lines += Self.explainTags(commands, deployBranch: branch)
        for command in commands {
            guard command.ref.hasPrefix("refs/heads/") else {
                decisions[command.ref] = .update
                continue
            }
            let name = String(command.ref.dropFirst(11))
            let deploys = name == branch
            if command.isDelete {
                if deploys {
                    decisions[command.ref] = .refuse("deleting the deploy branch is refused")
                    lines.append(
                        " !     \(name) is the deploy branch of \(appName) and can't be deleted; to deploy another one: paasctl git deploy-branch NAME"
                    )
                } else {
                    decisions[command.ref] = .update
                }
            } else if deploys {
                deploy = command
            } else {
                decisions[command.ref] = .update
                lines += Self.explain(name, deployBranch: branch)
            }
        }
        // With main and master together the one left out deserves its reason.
        if let deploy, deployBranch == nil, commands.contains(where: { $0.ref == "refs/heads/master" && $0 != deploy })
        {
            lines.append(
                " !     main and master came together: main is built, and is the deploy branch once it has deployed")
        }
    }

    private static func branch(_ fixed: String?, _ commands: [PushCommand]) -> String {
        if let fixed { return fixed }
        func pushed(_ name: String) -> Bool { commands.contains { $0.ref == "refs/heads/\(name)" && !$0.isDelete } }
        return !pushed("main") && pushed("master") ? "master" : "main"
    }

    private static func explain(_ name: String, deployBranch: String) -> [String] {
        [
            " !     branch \(name) is not the deploy branch; to deploy: git push paas \(name):\(deployBranch)",
            "       The branch was stored; nothing was built.",
        ]
    }

    /// A tag may name another object than a commit: `^{}` is the commit that it leads to.
    private static func explainTags(_ commands: [PushCommand], deployBranch: String) -> [String] {
        let tags = commands.filter { $0.ref.hasPrefix("refs/tags/") && !$0.isDelete }.map { $0.ref.dropFirst(10) }
        guard let first = tags.first else { return [] }
        let what = tags.count == 1 ? "Tag \(first) was" : "\(tags.count) tags were"
        return ["       \(what) stored, not built; to deploy: git push paas \(first)^{}:\(deployBranch)"]
    }
}
