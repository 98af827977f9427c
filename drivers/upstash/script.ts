// Made of script/*.lua by `deno task lua`: change those, and run it.

/** What a store runs in Redis, for any operation. */
export const SCRIPT: string =
  `local a,b,c,d=KEYS[1],KEYS[2],KEYS[3],KEYS[4]local e,f,g=ARGV[1],ARGV[4],redis.call;local h,i,j=
tonumber(ARGV[5]),tonumber(ARGV[6]),tonumber(ARGV[7])local k=table.remove(ARGV)~=''local l=table.
remove(ARGV)if e=='confirm'then g('HDEL',a,unpack(ARGV,9))return{1,0,0}end;local m=math.floor(ARGV[3
]~=''and ARGV[3]or ARGV[2])if ARGV[3]==''then local n,o=pcall(g,'TIME')if n then m=o[1]*1000+math.
floor(o[2]/1000)end end;local function p(q)return type(q)=='number'and string.format('%.0f',q)or q
or''end;local function r(q)local s=tonumber(q)return s and s%1==0 and math.abs(s)<=9007199254740991
and s or nil end;local function t(q)return math.max(0,r(q)or 0)end;local function u(v,w)for x=1,#w,
1000 do g('HDEL',v,unpack(w,x,math.min(x+999,#w)))end end;local function y(v)local z,A={},g(
'HGETALL',v)for x=1,#A,2 do z[A[x]]=A[x+1]end;return z,#A>0 end;local B,C,D,E=y(a),{},{},false;local
function F(G,q)B[G]=p(q)C[G],E=B[G],true end;local function H(G)B[G],C[G],E=nil,nil,true;D[#D+1]=G
end;local function I(G)return r(B[G])end;local function J()return(B.override or'')~=''end;local
function K(G)return G:sub(1,6)=='lease:'end;if B.epoch==''then B.epoch=nil end;local L=not B.epoch;
if B.prefix and B.prefix~=ARGV[8]then return redis.error_reply(
'ERR the circuit belongs to a store with another prefix')end;local function M(G,q)B[G],C[G]=q,q end;
if not L then if not({CLOSED=1,OPEN=1,HALF_OPEN=1})[B.state]then M('state','CLOSED')end;if t(B.
generation)~=I('generation')then M('generation','0')end;if t(B.since)~=I('since')then M('since',B.
generation)end;local N={forced_open=1,forced_closed=1,disabled=1,metrics_only=1}if J()and not N[B.
override]then for O,G in ipairs({'','.until','.reason','.actor'})do M('override'..G,'')end end end;
local P,Q={'epoch','policyHash','outcomes','since','trial','halfOpen.successes','halfOpen.failures',
'totals.successes','totals.failures','totals.rejected','totals.slow','lastFailureAt','lastSuccessAt'
,'ids','cursor','sinceClosed.successes','sinceClosed.failures','sinceClosed.slow',
'consecutiveSuccesses','consecutiveFailures','start','newest.successes','newest.failures',
'newest.slow','floor','after','from','older.successes','older.failures','older.slow'},16;for O,R in
ipairs(P)do if B[R]and R~='epoch'and R~='since'then B[R],D[#D+1]=nil,R end end;local S,T,U,V={},nil,
false,false;local W=g('HMGET',b,'id:'..f,unpack(P))local n=r(table.remove(W,1))if not L and W[1]==B.
epoch then for x,R in ipairs(P)do if x>3 then S[R]=r(W[x])else S[R]=W[x]or nil end;if x>3 and(S[R]or
0)<0 and(R:find('^[ic]')or R:find('.',1,true))then S[R]=nil end end;if n and m-math.floor(n/2)<60000
then T=n%2==1 end else W,V={},W[1]end;local X=S.policyHash;local function Y(R)return S[R]or 0 end;
local function Z(R,s)if s~=0 then S[R]=Y(R)+s end end;local function _(a0,a1,a2,a3)Z(a0 ..
'.successes',a1)Z(a0 ..'.failures',a2)Z(a0 ..'.slow',a3)end;local function a4(a0)return Y(a0 ..
'.successes'),Y(a0 ..'.failures'),Y(a0 ..'.slow')end;local function a5(...)for O,R in ipairs({...})
do S[R]=nil end end;local function a6()if S.since~=I('since')then a5('outcomes',unpack(P,Q))S.since=
I('since')end;if S.trial~=I('generation')then a5('halfOpen.successes','halfOpen.failures')S.trial=I(
'generation')end end;a6()local function a7(a8)T,U,E=a8,true,true end;local a9={'consecutiveFailures'
,'consecutiveSuccesses','sinceClosed.failures','sinceClosed.successes','sinceClosed.slow',
'totals.failures','totals.successes','totals.rejected','totals.slow','halfOpen.successes',
'halfOpen.failures'}local function aa(ab,ac,ad,ae,af,ag,ah,ai)if l==''then return end;local aj,ak={}
,{}for G,q in pairs(B)do local Y,al=G:match('^row:(%d+) %-?%d+ (.*)$')if Y then local am=tonumber(q:
match('^%S+ %S+ %S+ %S+ (%S+)'))or 0;local an,ao={am,tonumber(Y),al,G},ak[al]aj[#aj+1]=an;if not ao
or am<ao[1]or am==ao[1]and an[2]<ao[2]then ak[al]=an end end end;if#aj>=64 then table.sort(aj,
function(ap,aq)local ar,as=ak[ap[3]],ak[aq[3]]if ar==as then return ap[2]<aq[2]end;if ar[1]~=as[1]
then return ar[1]<as[1]end;if ar[2]~=as[2]then return ar[2]<as[2]end;return ap[3]<aq[3]end)local at,
au=aj[1][4],aj[2][4]local av,aw=B[au]:match('^(%d+)(.*)$')F(au,p(t(av)+1+t(B[at]:match('^%d+')))..(
aw or''))H(at)end;local an={0,ab,B.state,ac or B.state,p(m),af or'-',p(ag or'-')}for O,R in ipairs(
a9)do an[#an+1]=p(Y(R))end;an[#an+1]=ae or l;ah=p(ah or I('generation')+1)ad=p(ad or m)F('row:'..ah
..' '..ad..' '..(ai or B.epoch),table.concat(an,' '))end;local function ax(ah,ad,ay)F('generation',
ah)F('began',ad)if ay then F('since',ah)end;for G in pairs(B)do if K(G)then H(G)end end;a6()end;
local function az(ad,ay)ax(I('generation')+1,ad,ay)end;local function aA(ai,ah,ad)return ai==B.epoch
and tonumber(ah)==I('generation')and tonumber(ad)==(I('began')or 0)end;local aB=false;local aC=f..
'.'..p(m)local function aD(ah)for G in pairs(B)do if G:sub(1,4)~='row:'and G~='expires'then H(G)end
end;S,aB={},true;F('epoch',aC)F('state','CLOSED')F('prefix',ARGV[8])ax(ah,m,true)end;local function
aE(ad,af,ag,aF,aG)F('override',af)F('override.until',ag)F('override.reason',aF)F('override.actor',aG
)aB=true;az(ad,true)end;local aH={}local function aI()local ag=I('override.until')if J()and ag and
ag<=m then local aJ='{"reason":"expired","actor":null,'..(l:match('"isolate":.*')or'}')aa('released'
,nil,ag,aJ,B.override)for G,q in pairs(B)do if G:sub(1,8)=='override'then aH['released'..G:sub(9)]=q
end end;aE(ag)end end;local function aK()return B.epoch..':'..B.since end;local aL={}local function
aM(v,au,aN,s,a3,aO)local z,aP=y(v)if z.of~=aK()then if aN and aP then g('DEL',v)end;z={}aL[v]=aN end
;local aQ,aR,aS,aT={},{0,0},nil,{}local function aU(G,aV)if aV==0 then return end;z[G]=p(t(z[G])+aV)
aQ[#aQ+1],aQ[#aQ+2]=G,z[G]end;local aW=aN and{[p(aN)]=s,['s'..p(aN)]=a3}or{}for G,aV in pairs(aW)do
if aO and z[G]then z[G],aT[#aT+1]=nil,G end;aU(G,aV)end;for G,aX in pairs(z)do local aY,ad=G:match(
'^(s?)(%-?%d+)$')ad=tonumber(ad)if ad and(ad>au or ad==aN)then local x=#aY+1;aR[x]=aR[x]+t(aX)aS=
math.min(aS or ad,ad)elseif ad then aT[#aT+1]=G end end;if aN and#aT>(aO and 0 or 20)then u(v,aT)end
;if#aQ>0 then g('HSET',v,'of',aK(),unpack(aQ))end;return aR[1],aR[2],aS end;local function aZ(au,aN,
a1,a2,a3)local a_,b0,b1=a4('older')local aO=aN and aN<=au;local b2,O,aS,b3=aO or S.after and S.after
>au,nil,nil,nil;if b2 or a_+a1>0 then a_,O,aS=aM(d,au,aN,a1,0,aO)end;if b2 or b0+b1+a2+a3>0 then b0,
b1,b3=aM(c,au,aN,a2,a3,aO)end;if aO then au=aN-1;S.floor=au end;S['older.successes'],S[
'older.failures'],S['older.slow']=a_,b0,b1;S.after,S.from=au,aS and b3 and math.min(aS,b3)or aS or
b3 end;local function b4(a1,a2,a3,b5)local b6,b7,aN=math.ceil(h/10),m,S.start;if not aN or b5>0 or m
>=aN+b6 then b7=math.max(m,aN or m)aN=math.floor((b7-b5)/b6)*b6;if aN<=b7-h then return end end;if
aN~=S.start then local b8=math.max(S.floor or b7-h,b7-h)S.floor=b8;if S.start and aN<S.start then
return aZ(b8,aN,a1,a2,a3)end;if S.start and S.start>b8 then aZ(b8,S.start,a4('newest'))else a5(
'after','from','older.successes','older.failures','older.slow')end;a5('newest.successes',
'newest.failures','newest.slow')S.start=aN end;_('newest',a1,a2,a3)end;local function b9(R,ba)local
bb=S[R]if not(bb and bb>ba and bb<=m)then S[R]=ba end end;local function aX(a1,a2,a3,b5)_(
'sinceClosed',a1,a2,a3)if a1>0 then Z('consecutiveSuccesses',a1)a5('consecutiveFailures')b9(
'lastSuccessAt',m-b5)end;if a2>0 then local bc=S.lastSuccessAt;if not bc or math.max(m,bc)-b5>=bc
then Z('consecutiveFailures',a2)a5('consecutiveSuccesses')end;b9('lastFailureAt',m-b5)end;if B.state
=='HALF_OPEN'then _('halfOpen',a1,a2,0)end;b4(a1,a2,a3,b5)if i>0 then local ba=('S'):rep(math.min(a1
,i))..('F'):rep(a2)S.outcomes=((S.outcomes or'')..ba):sub(-i)end end;local bd=100;local function be(
G)local ag,b6=(B[G]or''):match('^(%S+) (%S+)$')ag,b6=r(ag),r(b6)if ag and b6 then return ag,b6 end
end;local function bf(bg,bh,bi)local bj=0;for G in pairs(B)do if K(G)then local ag,b6=be(G)if not ag
or ag<=m or b6>0 and ag-m>2*b6 then H(G)elseif b6>0 then bj=bj+1 end end end;local G='lease:'..bg;
local ag,b6=be(G)if ag then return b6>0 end;if bj>=bh then return false end;F(G,p(m+bi)..' '..p(bi))
return true end;local function bk(bg)local ag,b6=be('lease:'..bg)if not ag or b6==0 then return end;
F('lease:'..bg,p(ag)..' 0')local aX,ao,bl=0,nil,nil;for G in pairs(B)do if K(G)then ag,b6=be(G)if b6
==0 then aX=aX+1;if not ao or ag<bl then ao,bl=G,ag end end end end;if aX>bd then H(ao)end end;local
bm,bn=true,false;local function bo(bp,bq)bm=B.epoch or bp;if not bm then return end;if not B.epoch
then aD(1)end;if T==nil then aI()a7(bq())end;bm=T end;if e=='record'then local ai,ah=ARGV[9],
tonumber(ARGV[10])local a1,a2,a3=tonumber(ARGV[12]),tonumber(ARGV[13]),tonumber(ARGV[15])bo(true,
function()local br=aA(ai,ah,ARGV[11])if ai==''then br=ah==0 and I('generation')==1 end;_('totals',a1
,a2,a3)Z('totals.rejected',tonumber(ARGV[14]))S.policyHash=ARGV[18]if br and a1+a2>0 then aX(a1,a2,
a3,math.max(0,math.floor(ARGV[16])))end;bk(ARGV[17])return br end)elseif e=='acquire'and B.epoch
then aI()bn=T or false;if J()then bm=B.override~='forced_open'elseif B.state~='CLOSED'then local bs=(
I('openUntil')or m)-m;if not bn and B.state=='OPEN'and(bs<=0 or bs>tonumber(ARGV[12]))then aa(
'half_opened','HALF_OPEN')F('state','HALF_OPEN')F('reason','cooldown_passed')az(m)bn=true;a7(true)
end;bm=B.state=='HALF_OPEN'and bf(ARGV[9],tonumber(ARGV[10]),tonumber(ARGV[11]))end elseif e==
'transition'then local ac,bt=ARGV[9],ARGV[14]~=''bo(not bt,function()if bt and not aA(ARGV[13],ARGV[
14],ARGV[15])then return false end;if ARGV[10]=='closed'and Y('halfOpen.failures')>0 then return
false end;aa(ARGV[10],ac)if ac=='OPEN'then F('reopenCount',B.state=='HALF_OPEN'and t(B.reopenCount)+
1 or 0)F('openedAt',m)F('openUntil',m+ARGV[11])else if B.state~='CLOSED'then F('closedAt',m)end;F(
'reopenCount',0)F('openUntil')end;F('state',ac)F('reason',ARGV[12])az(m,ac=='CLOSED')return true end
)elseif e=='override'then local af,ag=ARGV[9],tonumber(ARGV[10])bo(af~='',function()if af==''and not
J()then return false end;ag=ag and math.floor(ag-ARGV[2]+m)aa(af==''and'released'or af,nil,nil,nil,
af==''and B.override or af,ag)aE(m,af,ag,ARGV[11],ARGV[12])return true end)elseif e=='restore'then
local bb=B.epoch;bo(true,function()if bb and ARGV[9]=='keep'then return false end;local ah=math.max(
I('generation'),ARGV[10])+1;aa('imported',ARGV[13]:sub(2),nil,nil,nil,nil,ah,aC)aD(ah)local function
bu(q)local aY=q:sub(1,1)if aY=='='then return q:sub(2)end;return aY=='@'and p(q:sub(2)-ARGV[2]+m)or
q end;local ao,bv=12+2*ARGV[11],{}for O,R in ipairs(P)do bv[R]=true end;for x=12,ao-1,2 do local G,q
=ARGV[x],bu(ARGV[x+1])if bv[G]then S[G]=G~='policyHash'and tonumber(q)or q else F(G,q)end end;for x=
ao,#ARGV,4 do if S.start then aZ(-1e15,S.start,a4('newest'))end;S.start,S['newest.successes']=
tonumber(bu(ARGV[x])),tonumber(ARGV[x+1])S['newest.failures'],S['newest.slow']=tonumber(ARGV[x+2]),
tonumber(ARGV[x+3])end;X=S.policyHash;return true end)end;local a_,b0,a3=0,0,0;local au=math.max(m,S
.start or m)-h;au=math.max(au,S.floor or au)if S.start and S.start>au then if(S.after or au)>au or(S
.from or m)<=au then aZ(au,nil,0,0,0)end;a_,b0,a3=a4('newest')a_,b0,a3=a_+Y('older.successes'),b0+Y(
'older.failures'),a3+Y('older.slow')end;if E then S.epoch=B.epoch;local bw=math.max(m,I('openUntil')
or 0,I('override.until')or 0)+j;local bx=bw>(I('expires')or 0)if bx then F('expires',bw+math.floor(j
/8))end;u(a,D)local aQ,aT={},{}for G,q in pairs(C)do aQ[#aQ+1],aQ[#aQ+2]=G,q end;if#aQ>0 then g(
'HSET',a,unpack(aQ))end;aQ={}if U then S.ids=Y('ids')+1;if S.ids%16==0 then local by=g('HSCAN',b,S.
cursor or 0,'MATCH','id:*','COUNT',64)S.cursor=tonumber(by[1])for x=1,#by[2],2 do if m-math.floor(t(
by[2][x+1])/2)>=60000 then aT[#aT+1]=by[2][x]end end end;aQ={'id:'..f,p(m*2+(T and 1 or 0))}end;for
x,R in ipairs(P)do local q=p(S[R])if q~=(W[x]or'')then aQ[#aQ+1],aQ[#aQ+2]=R,q end end;aL[a],aL[b]=
aB,not W[1]if V then g('DEL',b)end;u(b,aT)if#aQ>0 then g('HSET',b,unpack(aQ))end;for O,v in ipairs(
KEYS)do if v==a and J()and not I('override.until')then if aB then g('PERSIST',a)end elseif aL[v]or
bx and not L then g('PEXPIRE',v,p(I('expires')-m))end end end;local a8={bm and 1 or 0,bn and 1 or 0,
m}local function bz(z,bb)for G,q in pairs(z)do local bA=G:sub(1,4)=='row:'and not k;if not bA and
not(K(G)and q:sub(-2)==' 0')then a8[#a8+1],a8[#a8+2]=(bb or'')..G,'='..p(q)end end end;if B.epoch
then bz(S)bz(B)bz(aH)bz({policyHash=X or'',successes=a_,failures=b0,slow=a3},'answer.')if e=='dump'
then bz(y(c),'failures:')bz(y(d),'successes:')end end;return a8`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "0905314f656331b929014c3a1d809ac643a3ad12";
