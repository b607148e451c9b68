import Postgres

/// The schema's steps, in order.
enum Migrations {
    static let all = [migration001, migration002, migration003, reserved(4), reserved(5), migration006]

    /// A number that another step of the schema takes.
    private static func reserved(_ number: Int) -> PostgresMigration {
        PostgresMigration(number: number, name: "reserved", sql: "select 1")
    }
    /// Keys of the advisory locks that this program takes in its database.
    static let lockKey: Int64 = 0x736c_6970_0001
    static let writerLockKey: Int64 = 0x736c_6970_0002
    static let allocationLockKey: Int64 = 0x736c_6970_0003
}
