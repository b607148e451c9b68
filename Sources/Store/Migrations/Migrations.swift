import Postgres

/// The schema's steps, in order.
enum Migrations {
    static let all = [
        migration001, migration002, migration003,
        // Numbers 4 to 6 belong to work that is under way beside this.
        PostgresMigration(number: 4, name: "4", sql: "select 1"),
        PostgresMigration(number: 5, name: "5", sql: "select 1"),
        PostgresMigration(number: 6, name: "6", sql: "select 1"), migration007,
    ]
    /// Keys of the advisory locks that this program takes in its database.
    static let lockKey: Int64 = 0x736c_6970_0001
    static let writerLockKey: Int64 = 0x736c_6970_0002
    static let allocationLockKey: Int64 = 0x736c_6970_0003
}
