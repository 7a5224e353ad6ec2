#!/bin/bash
# A Slurm cluster of one node, for the tests: `one-node-slurm.sh start DIR` and `one-node-slurm.sh stop DIR`.
#
# It needs root and Debian's packages slurmctld, slurmd, slurm-client and munge. Everything that it writes is in DIR, all
# daemons listen on this machine's loopback address only, and clients find it through SLURM_CONF=DIR/slurm.conf.
set -eu

action=$1
dir=$(realpath "$2")
port=${NDSC_SLURM_PORT:-26817}

stop() {
    for daemon in slurmd slurmctld munged; do
        if [ -f "$dir/$daemon.pid" ]; then
            kill "$(cat "$dir/$daemon.pid")" 2>/dev/null || true
        fi
    done
}

write_conf() {
    cat >"$dir/slurm.conf" <<EOF
ClusterName=ndsc-tests
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
EOF
    # `disabled` does not exist in Slurm 22.05, so a version is named though nothing uses control groups.
    version=v1
    if ! mount | grep -q '^cgroup on '; then version=v2; fi
    echo "CgroupPlugin=cgroup/$version" >"$dir/cgroup.conf"
}

start() {
    mkdir -p "$dir/state" "$dir/spool"
    chmod 755 "$dir"
    write_conf
    dd if=/dev/urandom of="$dir/munge.key" bs=1 count=1024 status=none
    chmod 600 "$dir/munge.key"
    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/munged.seed"
    slurmctld -f "$dir/slurm.conf"
    slurmd -f "$dir/slurm.conf"
    export SLURM_CONF=$dir/slurm.conf
    for _ in $(seq 100); do
        if sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then
            return
        fi
        sleep 0.2
    done
    echo "no node became idle; the last lines of the logs:" >&2
    tail -n 5 "$dir"/*.log >&2
    stop
    exit 1
}

case $action in
start) start ;;
stop) stop ;;
*) echo "usage: $0 start|stop DIR" >&2 && exit 2 ;;
esac
