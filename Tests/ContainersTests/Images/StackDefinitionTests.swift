import Domain
import Glibc
import OS
import Testing

@testable import Containers

/// When a stack is made anew, and what becomes of the one before.
@Suite struct StackDefinitionTests {
    /// A definition whose images hold the text of its `content`.
    private func define(_ f: ImageFixture, _ content: String) throws {
        let stacks = f.settings.prefix + "/stacks"
        try Files.makeDirectories(stacks + "/toy/hooks", mode: 0o755)
        try Files.makeDirectories(stacks + "/hooks", mode: 0o755)
        try write(stacks + "/toy/stack.conf", "suite=toy")
        try write(stacks + "/toy/content", content)
        let script = """
            #!/bin/bash
            set -e
            mkdir $2/tree; cp $(dirname $0)/$1/content $2/tree/
            for k in run build; do mkfs.erofs --quiet -T1 -U5a1ea5ed-0000-5000-8000-000000000002 $2/$k.erofs $2/tree >/dev/null; done
            """
        try write(stacks + "/build", script, mode: 0o755)
    }

    @Test func aChangedDefinitionIsNoticed() throws {
        try ImageFixture.with { f in
            try define(f, "one")
            #expect(try !f.service.isStackUpToDate("toy"), "there is none")
            try f.service.buildStack("toy")
            #expect(try f.service.isStackUpToDate("toy"))
            try define(f, "two")
            #expect(try !f.service.isStackUpToDate("toy"))
            try define(f, "one")
            #expect(try f.service.isStackUpToDate("toy"))
            try Files.setMode(f.settings.prefix + "/stacks/toy/content", 0o755)
            #expect(try !f.service.isStackUpToDate("toy"), "what can be executed counts")
            try Files.setMode(f.settings.prefix + "/stacks/toy/content", 0o644)
            // As from an engine before this was noted.
            try Files.remove(f.settings.stacksDirectory + "/toy/.definition")
            #expect(try !f.service.isStackUpToDate("toy"))
        }
    }

    @Test func aContainerKeepsItsImageUntilItEnds() throws {
        try ImageFixture.with { f in
            try define(f, "one")
            try f.service.buildStack("toy")
            let used = f.root + "/m/used", fresh = f.root + "/m/fresh"
            try f.service.mountStack("toy", kind: .run, uidSlot: 1, at: used)
            try define(f, "two")
            try f.service.buildStack("toy")
            #expect(try Files.readText(used + "/content") == "one")
            try f.service.mountStack("toy", kind: .run, uidSlot: 1, at: fresh)
            #expect(try Files.readText(fresh + "/content") == "two")
            func images() throws -> Int {
                try Files.list(f.settings.stacksDirectory + "/toy").count { !$0.hasPrefix(".") && $0 != "current" }
            }
            _ = try f.restarted()
            #expect(try images() == 2, "one of them has a user")
            #expect(try Files.readText(used + "/content") == "one")
            try f.service.unmount(at: used)
            _ = try f.restarted()
            #expect(try images() == 1)
            #expect(try Files.readText(fresh + "/content") == "two")
        }
    }
}
